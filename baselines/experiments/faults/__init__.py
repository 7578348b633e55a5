"""Small trainings with planted faults, by which the doctor's thresholds are chosen."""
