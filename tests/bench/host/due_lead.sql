\set n random(0, :due - 1)
\set u :n % :devices % :users
update leads set name = 'Person ' || :n::text || ', edited' where phone = '6019' || lpad(:n::text, 8, '0') and user_id = md5('user ' || :u::text)::uuid;
