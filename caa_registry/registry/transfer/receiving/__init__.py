"""How a registry takes in what another one sends."""
