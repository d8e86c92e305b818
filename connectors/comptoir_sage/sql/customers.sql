-- Customers of Sage 100 (third parties of type 0 that are no prospects). Layout rule: docs/reading-sql.md.
SELECT
    'customers 1' AS "Comptoir",
    c.CT_Num AS "CT_Num",
    c.CT_Intitule AS "CT_Intitule",
    c.CT_Qualite AS "CT_Qualite",
    c.CT_Contact AS "CT_Contact",
    c.CT_Adresse AS "CT_Adresse",
    c.CT_Complement AS "CT_Complement",
    c.CT_CodePostal AS "CT_CodePostal",
    c.CT_Ville AS "CT_Ville",
    c.CT_CodeRegion AS "CT_CodeRegion",
    c.CT_Pays AS "CT_Pays",
    c.CT_Telephone AS "CT_Telephone",
    c.CT_EMail AS "CT_EMail",
    c.CT_Siret AS "CT_Siret",
    c.CT_Identifiant AS "CT_Identifiant",
    c.CT_Ape AS "CT_Ape",
    c.N_CatTarif AS "N_CatTarif",
    c.N_CatCompta AS "N_CatCompta",
    c.CT_Sommeil AS "CT_Sommeil",
    CAST(CAST(c.cbModification AS datetime2) AS varchar(23)) AS "cbModification"
FROM F_COMPTET c
WHERE c.CT_Type = 0 AND COALESCE(c.CT_Prospect, 0) = 0
