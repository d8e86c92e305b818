-- Stock of Sage 100: a row for each item or variant that is counted, and each depot. A depot where Sage has no row
-- counts zero, so that a row which vanishes is not taken for a stock that stays. Layout rule: docs/reading-sql.md.
SELECT
    'stock 1' AS "Comptoir",
    a.AR_Ref AS "AR_Ref",
    0 AS "AG_No1",
    0 AS "AG_No2",
    '' AS "AE_Ref",
    d.DE_No AS "DE_No",
    d.DE_Intitule AS "DE_Intitule",
    CAST(CAST(COALESCE(s.AS_QteSto, 0) AS numeric(24, 6)) AS varchar(40)) AS "AS_QteSto",
    CAST(CAST(COALESCE(s.AS_QteRes, 0) AS numeric(24, 6)) AS varchar(40)) AS "AS_QteRes",
    CAST(CAST(COALESCE(s.AS_QtePrepa, 0) AS numeric(24, 6)) AS varchar(40)) AS "AS_QtePrepa",
    CAST(CAST(COALESCE(s.AS_QteCom, 0) AS numeric(24, 6)) AS varchar(40)) AS "AS_QteCom",
    u.U_Intitule AS "U_Intitule",
    CAST(CAST(s.cbModification AS datetime2) AS varchar(23)) AS "cbModification"
FROM F_ARTICLE a
CROSS JOIN F_DEPOT d
LEFT JOIN F_ARTSTOCK s ON s.AR_Ref = a.AR_Ref AND s.DE_No = d.DE_No
LEFT JOIN P_UNITE u ON u.cbIndice = a.AR_UniteVen
WHERE COALESCE(a.AR_Gamme1, 0) = 0 AND a.AR_SuiviStock > 0
UNION ALL
SELECT
    'stock 1',
    a.AR_Ref,
    e.AG_No1,
    COALESCE(e.AG_No2, 0),
    e.AE_Ref,
    d.DE_No,
    d.DE_Intitule,
    CAST(CAST(COALESCE(s.GS_QteSto, 0) AS numeric(24, 6)) AS varchar(40)),
    CAST(CAST(COALESCE(s.GS_QteRes, 0) AS numeric(24, 6)) AS varchar(40)),
    CAST(CAST(COALESCE(s.GS_QtePrepa, 0) AS numeric(24, 6)) AS varchar(40)),
    CAST(CAST(COALESCE(s.GS_QteCom, 0) AS numeric(24, 6)) AS varchar(40)),
    u.U_Intitule,
    CAST(CAST(s.cbModification AS datetime2) AS varchar(23))
FROM F_ARTENUMREF e
INNER JOIN F_ARTICLE a ON a.AR_Ref = e.AR_Ref
CROSS JOIN F_DEPOT d
LEFT JOIN F_GAMSTOCK s
    ON s.AR_Ref = e.AR_Ref AND s.DE_No = d.DE_No
    AND COALESCE(s.AG_No1, 0) = e.AG_No1 AND COALESCE(s.AG_No2, 0) = COALESCE(e.AG_No2, 0)
LEFT JOIN P_UNITE u ON u.cbIndice = a.AR_UniteVen
WHERE a.AR_Gamme1 > 0 AND a.AR_SuiviStock > 0
