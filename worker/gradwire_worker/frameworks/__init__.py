"""Ready callbacks for frameworks whose loops are their own; each imports its framework when it is asked for."""
