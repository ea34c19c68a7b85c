"""Suite: may a small fine-tune replace a larger model?"""
