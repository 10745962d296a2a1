"""What a detector gets right and wrong on a data set, and why: pure functions of detections and annotations."""
