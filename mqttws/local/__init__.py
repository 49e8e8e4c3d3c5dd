"""Local services as programs: DPS, and the certificates that it needs."""
