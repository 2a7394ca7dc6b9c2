-- Mandates: a firm's standing, dated, versioned power to a cabinet, in one caisse.
-- docs/explanation/delegation.md tells the thirteen states and who may move them.

CREATE TABLE mandate (
    id                  uuid        PRIMARY KEY,
    caisse              text        NOT NULL REFERENCES caisse (slug),
    adherent_id         uuid        NOT NULL REFERENCES adherent (id),
    cabinet_id          uuid        NOT NULL REFERENCES cabinet (id),
    family              text        NOT NULL CHECK (family IN ('contributions', 'time_off')),
    role                text        NOT NULL CHECK (role IN ('principal', 'observer')),
    state               text        NOT NULL CHECK (state IN (
        'legacy_lapsed', 'requested', 'offered', 'active', 'suspended',
        'declined', 'withdrawn', 'expired', 'replaced', 'revoked', 'resigned', 'ended', 'void')),
    version             integer     NOT NULL CHECK (version > 0),
    scopes              text[]      NOT NULL,
    -- Public ids (est_…), since a SIRET changes on moving; {*} is all of them.
    establishments      text[]      NOT NULL,
    starts_on           date,
    -- The last day, included, as days are counted in Paris.
    ends_on             date,
    amount_cap_cents    bigint      CHECK (amount_cap_cents > 0),
    machine             boolean     NOT NULL DEFAULT false,
    document_categories text[]      NOT NULL DEFAULT '{*}',
    -- Who may say yes is decided by the state; until when, by this.
    answer_by           timestamptz,
    suspended_by        text        CHECK (suspended_by IN ('adherent', 'cabinet', 'caisse', 'risk')),
    -- Mandates made by one gesture share one receipt.
    gesture_id          uuid        NOT NULL,
    previous_id         uuid        REFERENCES mandate (id),
    -- A former authorisation: how the former system named it, and from where it came.
    former_reference    text,
    former_label        text,
    proposed_by         uuid        REFERENCES person (id),
    created_at          timestamptz NOT NULL,
    state_at            timestamptz NOT NULL,
    CHECK (cardinality(establishments) > 0 AND cardinality(document_categories) > 0),
    CHECK ((suspended_by IS NOT NULL) = (state = 'suspended')),
    CHECK ((answer_by IS NOT NULL) = (state IN ('requested', 'offered'))),
    -- A former authorisation gives nothing; every other mandate says what, from when and until when.
    CHECK (CASE WHEN state = 'legacy_lapsed'
                THEN scopes = '{}' AND starts_on IS NULL AND ends_on IS NULL AND NOT machine
                ELSE state = 'void' OR (cardinality(scopes) > 0 AND starts_on <= ends_on) END),
    CHECK (scopes <@ (CASE family
        WHEN 'contributions' THEN ARRAY['declaration.read', 'declaration.submit',
                                        'payment.read', 'payment.prepare', 'payment.order']
        ELSE ARRAY['leave.read', 'leave.plan', 'weather.read', 'weather.declare'] END
        || ARRAY['employee.read', 'attestation.read', 'attestation.request',
                 'document.read', 'document.deposit', 'message.read', 'message.send'])),
    CHECK (role = 'principal' OR scopes <@ ARRAY[
        'declaration.read', 'payment.read', 'leave.read', 'weather.read',
        'employee.read', 'attestation.read', 'document.read', 'message.read']),
    CHECK (amount_cap_cents IS NOT NULL OR NOT 'payment.order' = ANY (scopes))
);
-- One live mandate per cabinet and family; one principal in force per family.
CREATE UNIQUE INDEX mandate_live ON mandate (caisse, adherent_id, cabinet_id, family)
    WHERE state IN ('requested', 'offered', 'active', 'suspended');
CREATE UNIQUE INDEX mandate_principal ON mandate (caisse, adherent_id, family)
    WHERE role = 'principal' AND state IN ('active', 'suspended');
CREATE UNIQUE INDEX mandate_former ON mandate (caisse, former_reference, family)
    WHERE former_reference IS NOT NULL;
CREATE INDEX mandate_of_adherent ON mandate (adherent_id, state);
CREATE INDEX mandate_of_cabinet ON mandate (cabinet_id, caisse, state);
CREATE INDEX mandate_to_settle ON mandate (caisse, answer_by, ends_on)
    WHERE state IN ('requested', 'offered', 'active', 'suspended');
SELECT protect_by_caisse('mandate');

-- Each version as it was: what was granted on a day can be shown years later.
CREATE TABLE mandate_version (
    caisse      text        NOT NULL REFERENCES caisse (slug),
    mandate_id  uuid        NOT NULL REFERENCES mandate (id),
    version     integer     NOT NULL,
    event       text        NOT NULL,
    at          timestamptz NOT NULL,
    side        text        NOT NULL CHECK (side IN ('adherent', 'cabinet', 'caisse', 'clock', 'import', 'system')),
    person_id   uuid        REFERENCES person (id),
    terms       jsonb       NOT NULL,
    PRIMARY KEY (mandate_id, version)
);
SELECT protect_by_caisse('mandate_version');

CREATE FUNCTION mandate_keeps_its_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'a mandate is never deleted' USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.state IN ('declined', 'withdrawn', 'expired', 'replaced', 'revoked', 'resigned', 'ended', 'void') THEN
        RAISE EXCEPTION 'mandate % is %: a final state never changes', OLD.id, OLD.state
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.version <> OLD.version + 1
       OR (NEW.id, NEW.caisse, NEW.adherent_id, NEW.cabinet_id, NEW.family, NEW.created_at)
          IS DISTINCT FROM (OLD.id, OLD.caisse, OLD.adherent_id, OLD.cabinet_id, OLD.family, OLD.created_at) THEN
        RAISE EXCEPTION 'mandate %: each change raises the version by one and keeps the parties', OLD.id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER mandate_keeps_its_history BEFORE UPDATE OR DELETE ON mandate
    FOR EACH ROW EXECUTE FUNCTION mandate_keeps_its_history();

CREATE FUNCTION history_is_only_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the history of mandates is only ever added' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER history_is_only_added BEFORE UPDATE OR DELETE ON mandate_version
    FOR EACH ROW EXECUTE FUNCTION history_is_only_added();

-- A command's key gives one effect: the retry reads which mandates it touched.
CREATE TABLE mandate_command (
    caisse       text        NOT NULL REFERENCES caisse (slug),
    key          text        NOT NULL CHECK (length(key) BETWEEN 16 AND 128),
    command      text        NOT NULL,
    person_id    uuid        NOT NULL,
    mandate_ids  uuid[]      NOT NULL,
    at           timestamptz NOT NULL,
    PRIMARY KEY (caisse, key)
);
SELECT protect_by_caisse('mandate_command');

-- A delegation being filled in. `confirmed_at` is the pressed button that waits
-- for the step-up; Its id is the command's key, so a second try finds the first.
CREATE TABLE mandate_draft (
    id           uuid        PRIMARY KEY,
    caisse       text        NOT NULL REFERENCES caisse (slug),
    adherent_id  uuid        NOT NULL REFERENCES adherent (id),
    person_id    uuid        NOT NULL REFERENCES person (id),
    cabinet_id   uuid        NOT NULL REFERENCES cabinet (id),
    former_id    uuid        REFERENCES mandate (id),
    terms        jsonb       NOT NULL,
    created_at   timestamptz NOT NULL,
    confirmed_at timestamptz
);
CREATE INDEX mandate_draft_age ON mandate_draft (created_at);
SELECT protect_by_caisse('mandate_draft');

-- What was done under a mandate, by whom: told by the other services' facts.
CREATE TABLE mandate_act (
    event_id   uuid        PRIMARY KEY,
    caisse     text        NOT NULL REFERENCES caisse (slug),
    mandate_id uuid        NOT NULL REFERENCES mandate (id),
    at         timestamptz NOT NULL,
    person_id  uuid,
    action     text        NOT NULL,
    object     text        NOT NULL
);
CREATE INDEX mandate_act_of_mandate ON mandate_act (mandate_id, at DESC);
SELECT protect_by_caisse('mandate_act');
