"""The running process: how its parts are put together, listen, reload and stop."""
