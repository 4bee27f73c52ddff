"""The equal-compute experiment: does a cut make a better model than what it was cut from?"""
