\set n random(0, :due - 1)
update sequence_contacts set contact_name = 'Person ' || :n::text || ', edited' where id = md5('due ' || :n::text)::uuid;
