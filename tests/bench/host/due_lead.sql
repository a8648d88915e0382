\set n random(0, 199999)
update leads set name = 'Person ' || :n::text || ', edited' where phone = '6019' || lpad(:n::text, 8, '0') and user_id = md5('user ' || (:n % 300 % 30)::text)::uuid;
