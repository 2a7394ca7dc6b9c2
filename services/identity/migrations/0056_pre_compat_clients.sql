-- Discovery tells, each second at most, whether a caisse has a client of the
-- profile `compat`: one look at an index that holds few rows.
CREATE INDEX client_compat ON client (caisse) WHERE state = 'active' AND metadata ->> 'profile' = 'compat';
