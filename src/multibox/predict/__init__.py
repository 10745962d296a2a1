"""Files, folders, videos and cameras in; drawings and result files out."""
