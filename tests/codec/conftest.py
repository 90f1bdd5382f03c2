from hypothesis import settings

# the first example compiles kernels, and a shared machine may pause: time is no property of these tests
settings.register_profile("codec", deadline=None)
settings.load_profile("codec")
