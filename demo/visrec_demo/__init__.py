"""The demo: a sticker shop with real pictures (OpenMoji) and simulated shoppers."""
