"""The dialer's hops, judged: which one refuses, who is probably responsible, what to try."""
