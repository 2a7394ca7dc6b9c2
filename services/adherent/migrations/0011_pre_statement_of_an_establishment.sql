-- Each establishment has its own statement of a period and kind, as it has its own
-- declaration. An index rather than a constraint: while it is built, reads go on.
-- The version before still leans on the former key, for its ON CONFLICT and for its
-- GROUP BY, so that one goes after the deployment only (0012). Until then an import
-- that brings a second establishment's statement stops and the caisse's standings
-- are unavailable: run again after 0012, it ends.
CREATE UNIQUE INDEX statement_once ON statement (caisse, adherent_number, period, kind, establishment_siret)
    NULLS NOT DISTINCT;
