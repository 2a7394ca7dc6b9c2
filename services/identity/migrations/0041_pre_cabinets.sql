-- The cabinet's side: who in the cabinet sees which client, and until when.

-- Groups are closed by default: a client in no group is invisible, unless the
-- cabinet says, explicitly (cabinet.open_to_all), that everything is open to everybody.
CREATE TABLE access_group (
    id          uuid        PRIMARY KEY,
    cabinet_id  uuid        NOT NULL REFERENCES cabinet (id),
    name        text        NOT NULL,
    -- A mask narrows what each mandate gives; NULL narrows nothing. Never widens.
    scopes      text[],
    ends_at     timestamptz,
    created_at  timestamptz NOT NULL,
    removed_at  timestamptz
);
CREATE INDEX access_group_of_cabinet ON access_group (cabinet_id) WHERE removed_at IS NULL;
SELECT platform_wide('access_group');

CREATE TABLE access_group_member (
    group_id        uuid NOT NULL REFERENCES access_group (id),
    collaborator_id uuid NOT NULL REFERENCES collaborator (id),
    PRIMARY KEY (collaborator_id, group_id)
);
CREATE INDEX access_group_member_of_group ON access_group_member (group_id);
SELECT platform_wide('access_group_member');

-- A cabinet's client belongs to one caisse, and so does this row.
CREATE TABLE access_group_client (
    caisse      text NOT NULL REFERENCES caisse (slug),
    group_id    uuid NOT NULL REFERENCES access_group (id),
    adherent_id uuid NOT NULL REFERENCES adherent (id),
    PRIMARY KEY (adherent_id, group_id)
);
CREATE INDEX access_group_client_of_group ON access_group_client (group_id);
SELECT protect_by_caisse('access_group_client');

-- A caisse may refuse a cabinet the platform knows.
CREATE TABLE cabinet_denial (
    caisse     text        NOT NULL REFERENCES caisse (slug),
    cabinet_id uuid        NOT NULL REFERENCES cabinet (id),
    reason     text        NOT NULL,
    at         timestamptz NOT NULL,
    PRIMARY KEY (caisse, cabinet_id)
);
SELECT protect_by_caisse('cabinet_denial');
