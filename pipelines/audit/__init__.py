"""The overlap audit: which images of evaluation sets do training shards show, and did it matter?"""
