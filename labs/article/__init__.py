"""The lab that repeats the article's experiment, and its claims."""
