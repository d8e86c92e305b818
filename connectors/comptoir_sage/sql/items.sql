-- Items of Sage 100 and the variants (gammes) that have their own reference: one row for each that can be sold.
-- Layout rule: docs/reading-sql.md. SQL Server 2017 or later (STRING_AGG).
SELECT
    'items 1' AS "Comptoir",
    a.AR_Ref AS "AR_Ref",
    0 AS "AG_No1",
    0 AS "AG_No2",
    '' AS "AE_Ref",
    a.AR_Design AS "AR_Design",
    '' AS "EG_Enumere1",
    '' AS "EG_Enumere2",
    a.AR_CodeBarre AS "AR_CodeBarre",
    a.FA_CodeFamille AS "FA_CodeFamille",
    CAST(CAST(a.AR_PrixVen AS numeric(24, 6)) AS varchar(40)) AS "AR_PrixVen",
    a.AR_PrixTTC AS "AR_PrixTTC",
    u.U_Intitule AS "U_Intitule",
    CAST(CAST(a.AR_PoidsNet AS numeric(24, 6)) AS varchar(40)) AS "AR_PoidsNet",
    a.AR_UnitePoids AS "AR_UnitePoids",
    a.AR_SuiviStock AS "AR_SuiviStock",
    a.AR_Sommeil AS "AR_Sommeil",
    a.AR_Publie AS "AR_Publie",
    a.AR_Pays AS "AR_Pays",
    (
        SELECT STRING_AGG(
            CONCAT(c.AC_Categorie, '=', CAST(CAST(c.AC_PrixVen AS numeric(24, 6)) AS varchar(40)), '/', c.AC_PrixTTC),
            '|'
        )
        FROM F_ARTCLIENT c
        WHERE c.AR_Ref = a.AR_Ref AND c.AC_Categorie > 0 AND COALESCE(c.CT_Num, '') = ''
            AND c.AC_PrixVen > 0 AND COALESCE(c.AC_Devise, 0) = 0
    ) AS "F_ARTCLIENT",
    (
        SELECT STRING_AGG(
            CONCAT(
                t.ACP_Champ, '=', t.ACP_ComptaCPT_Taxe1, '/', CAST(CAST(x.TA_Taux AS numeric(24, 6)) AS varchar(40))
            ),
            '|'
        )
        FROM F_ARTCOMPTA t INNER JOIN F_TAXE x ON x.TA_Code = t.ACP_ComptaCPT_Taxe1
        WHERE t.AR_Ref = a.AR_Ref AND t.ACP_Type = 0 AND x.TA_TTaux = 0
    ) AS "F_ARTCOMPTA",
    (
        SELECT STRING_AGG(
            CONCAT(
                t.FCP_Champ, '=', t.FCP_ComptaCPT_Taxe1, '/', CAST(CAST(x.TA_Taux AS numeric(24, 6)) AS varchar(40))
            ),
            '|'
        )
        FROM F_FAMCOMPTA t INNER JOIN F_TAXE x ON x.TA_Code = t.FCP_ComptaCPT_Taxe1
        WHERE t.FA_CodeFamille = a.FA_CodeFamille AND t.FCP_Type = 0 AND x.TA_TTaux = 0
    ) AS "F_FAMCOMPTA",
    CAST(CAST((
        SELECT MAX(m.at)
        FROM (
            SELECT a.cbModification AS at
            UNION ALL SELECT c.cbModification FROM F_ARTCLIENT c WHERE c.AR_Ref = a.AR_Ref
            UNION ALL SELECT t.cbModification FROM F_ARTCOMPTA t WHERE t.AR_Ref = a.AR_Ref
            UNION ALL SELECT f.cbModification FROM F_FAMCOMPTA f WHERE f.FA_CodeFamille = a.FA_CodeFamille
        ) m
    ) AS datetime2) AS varchar(23)) AS "cbModification"
FROM F_ARTICLE a
LEFT JOIN P_UNITE u ON u.cbIndice = a.AR_UniteVen
WHERE COALESCE(a.AR_Gamme1, 0) = 0
UNION ALL
SELECT
    'items 1',
    a.AR_Ref,
    e.AG_No1,
    COALESCE(e.AG_No2, 0),
    e.AE_Ref,
    a.AR_Design,
    g1.EG_Enumere,
    g2.EG_Enumere,
    e.AE_CodeBarre,
    a.FA_CodeFamille,
    CAST(CAST(a.AR_PrixVen AS numeric(24, 6)) AS varchar(40)),
    a.AR_PrixTTC,
    u.U_Intitule,
    CAST(CAST(a.AR_PoidsNet AS numeric(24, 6)) AS varchar(40)),
    a.AR_UnitePoids,
    a.AR_SuiviStock,
    CASE WHEN a.AR_Sommeil = 1 OR e.AE_Sommeil = 1 THEN 1 ELSE 0 END,
    a.AR_Publie,
    a.AR_Pays,
    (
        SELECT STRING_AGG(
            CONCAT(c.AC_Categorie, '=', CAST(CAST(c.AC_PrixVen AS numeric(24, 6)) AS varchar(40)), '/', c.AC_PrixTTC),
            '|'
        )
        FROM F_ARTCLIENT c
        WHERE c.AR_Ref = a.AR_Ref AND c.AC_Categorie > 0 AND COALESCE(c.CT_Num, '') = ''
            AND c.AC_PrixVen > 0 AND COALESCE(c.AC_Devise, 0) = 0
    ),
    (
        SELECT STRING_AGG(
            CONCAT(
                t.ACP_Champ, '=', t.ACP_ComptaCPT_Taxe1, '/', CAST(CAST(x.TA_Taux AS numeric(24, 6)) AS varchar(40))
            ),
            '|'
        )
        FROM F_ARTCOMPTA t INNER JOIN F_TAXE x ON x.TA_Code = t.ACP_ComptaCPT_Taxe1
        WHERE t.AR_Ref = a.AR_Ref AND t.ACP_Type = 0 AND x.TA_TTaux = 0
    ),
    (
        SELECT STRING_AGG(
            CONCAT(
                t.FCP_Champ, '=', t.FCP_ComptaCPT_Taxe1, '/', CAST(CAST(x.TA_Taux AS numeric(24, 6)) AS varchar(40))
            ),
            '|'
        )
        FROM F_FAMCOMPTA t INNER JOIN F_TAXE x ON x.TA_Code = t.FCP_ComptaCPT_Taxe1
        WHERE t.FA_CodeFamille = a.FA_CodeFamille AND t.FCP_Type = 0 AND x.TA_TTaux = 0
    ),
    CAST(CAST((
        SELECT MAX(m.at)
        FROM (
            SELECT a.cbModification AS at
            UNION ALL SELECT e.cbModification
            UNION ALL SELECT c.cbModification FROM F_ARTCLIENT c WHERE c.AR_Ref = a.AR_Ref
            UNION ALL SELECT t.cbModification FROM F_ARTCOMPTA t WHERE t.AR_Ref = a.AR_Ref
            UNION ALL SELECT f.cbModification FROM F_FAMCOMPTA f WHERE f.FA_CodeFamille = a.FA_CodeFamille
        ) m
    ) AS datetime2) AS varchar(23))
FROM F_ARTENUMREF e
INNER JOIN F_ARTICLE a ON a.AR_Ref = e.AR_Ref
LEFT JOIN F_ARTGAMME g1 ON g1.AR_Ref = e.AR_Ref AND g1.AG_No = e.AG_No1
LEFT JOIN F_ARTGAMME g2 ON g2.AR_Ref = e.AR_Ref AND g2.AG_No = e.AG_No2
LEFT JOIN P_UNITE u ON u.cbIndice = a.AR_UniteVen
WHERE a.AR_Gamme1 > 0
