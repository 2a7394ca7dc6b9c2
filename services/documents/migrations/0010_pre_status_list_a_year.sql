-- One status list a year: 2^20 places are six times what the largest caisse issues in one.
ALTER TABLE attestation ADD COLUMN status_list integer NOT NULL DEFAULT 1;
ALTER TABLE attestation DROP CONSTRAINT attestation_caisse_status_index_key;
ALTER TABLE attestation ADD CONSTRAINT attestation_place_in_status_list UNIQUE (caisse, status_list, status_index);
