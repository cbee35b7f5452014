"""Feature drift: are the features still like those that were learned from?"""
