"""rnnlab: how far back in time can a recurrent network learn, and what stops it?"""
