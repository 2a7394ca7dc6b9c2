-- Discovery says each second whether a caisse has a compat client: found without reading the others.
CREATE INDEX client_of_compat ON client (caisse) WHERE state = 'active' AND metadata->>'profile' = 'compat';
