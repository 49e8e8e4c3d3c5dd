"""The dialer's hops, judged and explained: which one refuses, whose it probably is, what to try."""
