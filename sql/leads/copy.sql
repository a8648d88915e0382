-- The lines of a file of leads, as they stream in
--
-- Needs:
--   leads/stage.sql
-- Locks: none
copy pg_temp.lead_line (line, phone, name, niche, trigger, device, reason, raw) from stdin;
