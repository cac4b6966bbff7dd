"""The risk layer: what a plan may not end at, whatever it gains."""
