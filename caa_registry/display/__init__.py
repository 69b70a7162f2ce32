"""How what is handed out shows itself, and how long work shows how far it is."""
