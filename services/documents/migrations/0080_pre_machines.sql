-- Asked for by a cabinet's software: which one, and the person of the cabinet who answered for it then.
ALTER TABLE attestation ADD COLUMN machine_id uuid, ADD COLUMN sponsor_id uuid;
