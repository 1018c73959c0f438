"""What a fork server loads before the first child is forked, so that a child starts in a hundredth of a second."""

MODULES = ["modelkit.children"]
"""Names for `multiprocessing`'s `set_forkserver_preload`: this one brings numpy, pyarrow, scikit-learn and skops.

The numeric libraries start pools of threads as they load and make them anew in a forked child; training uses one.
"""
