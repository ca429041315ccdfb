-- What the user wants is kept when it is acknowledged; the state tells it only once the job rests.
ALTER TABLE train_jobs ADD COLUMN is_held INTEGER; -- none: as the state says
