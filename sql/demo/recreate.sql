-- The statements that make a scratch database anew, whatever is in it
--
-- Run one by one and outside a transaction, as CREATE DATABASE demands. Sessions left open in it are cut off.
--
-- Parameters:
--   name  text  the database
-- Row:
--   statement  text  what to run next
-- Locks: none
\if :{?name} \else \set name 'seqdev_demo' \endif
select format(step.template, :'name'::text) as statement
from (
    values
        (1, 'drop database if exists %I with (force)'),
        (2, 'create database %I template template0')
) as step (place, template)
order by step.place;
