-- Tables of EBP Gestion Commerciale, as far as the queries of comptoir_ebp/sql read them, for the tests' PostgreSQL. Names
-- and lengths: gescom-interfaces section 2.4 of the specifications; that Vat.Id is what Item.VatId names is unconfirmed.
-- Rows: made up.
create domain datetime2 as timestamp;
create domain uniqueidentifier as uuid;
create table Vat (Id uniqueidentifier primary key, Rate numeric(18,4));
create table Item (
    Id varchar(40) primary key, Caption varchar(80), BarCode varchar(40), FamilyId varchar(10), SubFamilyId varchar(10),
    UnitId varchar(4), SupplierId varchar(20), SalePriceVatExcluded numeric(20,8), SalePriceVatIncluded numeric(20,8),
    VatId uniqueidentifier, ManageStock bit, AllowPublishOnWeb bit, ActiveState smallint, Weight numeric(18,4),
    sysModifiedDate timestamp);
create table Storehouse (Id uniqueidentifier primary key, Caption varchar(40), Main bit);
create table StockItem (
    ItemId varchar(40), StorehouseId uniqueidentifier, RealStock numeric(18,4), VirtualStock numeric(18,4),
    MinStock numeric(18,4), BookedQuantity numeric(18,4));
create table Customer (
    Id varchar(20) primary key, Name varchar(60), MainInvoicingAddress_Address1 varchar(40),
    MainInvoicingAddress_Address2 varchar(40), MainInvoicingAddress_Address3 varchar(40),
    MainInvoicingAddress_Address4 varchar(40), MainInvoicingAddress_ZipCode varchar(10),
    MainInvoicingAddress_City varchar(35), MainInvoicingAddress_State varchar(50),
    MainInvoicingAddress_CountryIsoCode varchar(3), MainInvoicingContact_Email varchar(100),
    MainInvoicingContact_Phone varchar(20), IntracommunityVATNumber varchar(20), Siren varchar(20), Nic varchar(5),
    NAF varchar(8), FamilyId varchar(10), SettlementModeId varchar(6), PriceListCategoryId varchar(8),
    ActiveState smallint, sysModifiedDate timestamp);
create table SaleDocument (Id uniqueidentifier, DocumentNumber varchar(30), DocumentType smallint, Reference varchar(70));
insert into Vat values ('00000000-0000-0000-0000-000000000020', 20), ('00000000-0000-0000-0000-000000000055', 5.5);
insert into Storehouse values ('10000000-0000-0000-0000-000000000001', 'Principal', '1'),
    ('10000000-0000-0000-0000-000000000002', 'Boutique Besançon', '0');
insert into Item values
    ('MUG-001', 'Mug émaillé « cœur »', '3760123456784', 'VAISSELLE', null, 'U', 'F001', 10.00000000, 12.00000000,
     '00000000-0000-0000-0000-000000000020', '1', '1', 0, 0.3500, '2026-11-20 17:42:11.123'),
    ('THE-VRAC', 'Thé ; vert "en vrac"', '', 'EPICERIE', null, 'KG', null, 45.49763033, 48.00000000,
     '00000000-0000-0000-0000-000000000055', '1', '0', 0, 1, '2026-11-21 08:00:00'),
    ('PORT', 'Frais de port', null, null, null, 'U', null, 4.92, 5.90, null, '0', '0', 0, 0, '2026-11-01 08:00:00'),
    ('VIEUX', 'Modèle retiré', '', null, null, null, null, null, null, null, '1', '0', 1, null, null);
insert into StockItem values
    ('MUG-001', '10000000-0000-0000-0000-000000000001', 42.0000, 39.0000, 5, 3.0000),
    ('MUG-001', '10000000-0000-0000-0000-000000000002', 2, 2, 0, 0),
    ('THE-VRAC', '10000000-0000-0000-0000-000000000001', -0.125, -0.125, null, null),
    ('PORT', '10000000-0000-0000-0000-000000000001', 7, 7, null, null);
insert into Customer values
    ('CDUPONT', 'Dupont & Fils', '12 rue de l''Église', 'Bât. B', null, null, '25000', 'Besançon', null, 'FR',
     'contact@dupont.example', '03 81 00 00 00', 'FR83303265045', '303265045', '00018', '4719B', 'PRO', 'VIR', 'T2', 0,
     '2026-11-20 10:00:00'),
    ('CLEFEVRE', 'Lefèvre Zoé', null, null, null, null, '4000', 'Liège', null, 'BEL', null, null, null, null, null, null,
     null, null, null, 0, '2026-11-21 10:00:00');
