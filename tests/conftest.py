"""What holds for every test: examples may be slow to make on a busy machine, and no test is timed by hypothesis."""

from hypothesis import HealthCheck, settings

settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")
