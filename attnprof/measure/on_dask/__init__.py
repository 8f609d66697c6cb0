"""Measures groups of cases on the workers of a Dask cluster; dask.distributed is the engine.

The client hands each worker one group of cases at a time, as plain data. There the cases run as
they do without Dask, in forks of a process that has imported what they need.
"""
