"""Open-ended answers: generated at several multipliers, rated by a judge or by people, and looked at for coherence."""
