"""How well a vector works: propensity, sweeps over layers and multipliers, intervals."""
