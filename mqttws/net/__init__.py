"""The only code with sockets, event loops, threads and clocks; loaded when it is asked for."""
