-- Check constraints with each statement, even those that the host checks at COMMIT only
--
-- A row that the host would refuse at COMMIT is refused by the statement that wrote it, which can be undone
-- alone.
--
-- Locks: none
set constraints all immediate;
