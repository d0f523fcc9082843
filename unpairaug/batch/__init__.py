"""Runs the parts of a job in this process, in local processes, or in Ray actors; see `executor.Executor`."""
