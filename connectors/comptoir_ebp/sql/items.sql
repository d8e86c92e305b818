-- Items of EBP Gestion Commerciale. Layout rule: docs/reading-sql.md.
SELECT
    'items 1' AS "Comptoir",
    i.Id AS "Id",
    i.Caption AS "Caption",
    i.BarCode AS "BarCode",
    CAST(CAST(i.SalePriceVatExcluded AS numeric(24, 6)) AS varchar(40)) AS "SalePriceVatExcluded",
    CAST(CAST(i.SalePriceVatIncluded AS numeric(24, 6)) AS varchar(40)) AS "SalePriceVatIncluded",
    CAST(CAST(v.Rate AS numeric(24, 6)) AS varchar(40)) AS "VatRate",
    i.FamilyId AS "FamilyId",
    i.SubFamilyId AS "SubFamilyId",
    i.SupplierId AS "SupplierId",
    i.UnitId AS "UnitId",
    CAST(i.ManageStock AS varchar(1)) AS "ManageStock",
    CAST(i.AllowPublishOnWeb AS varchar(1)) AS "AllowPublishOnWeb",
    CAST(CAST(i.Weight AS numeric(24, 6)) AS varchar(40)) AS "Weight",
    i.ActiveState AS "ActiveState",
    CAST(CAST(i.sysModifiedDate AS datetime2) AS varchar(23)) AS "sysModifiedDate"
FROM Item i
LEFT JOIN Vat v ON v.Id = i.VatId
