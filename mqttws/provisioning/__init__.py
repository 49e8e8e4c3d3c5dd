"""The device's way to its hub: credentials, provision(), the assignment it brings, and fleets."""
