-- What a copier draws.
ALTER TABLE copiers ADD COLUMN copier_kind BLOB; -- MessagePack; none: identical
