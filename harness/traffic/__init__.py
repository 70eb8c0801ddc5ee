"""Real TCP connections between the two hosts, made to order: what either end does, and what is lost on the way."""
