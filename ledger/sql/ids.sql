-- Names of things. Nothing here reads or writes a table.

-- A UUIDv7 (RFC 9562): 48 bits of milliseconds, 12 bits of the fraction below them, so that what one
-- connection makes is in order, and 62 random bits. PostgreSQL 18 has a function for it, 15 does not.
-- In PL/pgSQL, like the digest below, because a function in SQL is parsed anew by every statement that calls it.
CREATE OR REPLACE FUNCTION ledger_uuid7() RETURNS uuid LANGUAGE plpgsql VOLATILE PARALLEL SAFE AS $$
DECLARE us bigint := extract(epoch FROM clock_timestamp()) * 1000000;
BEGIN
    RETURN encode(int8send((us / 1000) << 16 | 28672 | us % 1000 * 4096 / 1000)
                  || substring(uuid_send(gen_random_uuid()) FROM 9), 'hex')::uuid;
END $$;

-- The digest by which an idempotency key is known: private to its caller, of fixed size, unique for ever.
-- ledger.keys.digest computes the same in Python; a test holds the two together.
CREATE OR REPLACE FUNCTION ledger_key(p_caller text, p_key text) RETURNS uuid
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT encode(substring(sha256(convert_to(p_caller || chr(31) || p_key, 'UTF8')) FOR 16), 'hex')::uuid
$$;

-- What a seal covers of a transaction's free text: a digest that says nothing once the salt is erased.
CREATE OR REPLACE FUNCTION ledger_text_digest(
    p_salt uuid, p_reference text, p_description text, p_project text, p_metadata jsonb
) RETURNS bytea LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN sha256(uuid_send(p_salt) || convert_to(
        jsonb_build_array(p_reference, p_description, p_project, p_metadata)::text, 'UTF8'));
END $$;
