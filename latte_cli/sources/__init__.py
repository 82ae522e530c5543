"""Native layouts: one file each, from where things lie to a list of videos."""
