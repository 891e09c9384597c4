package qrc20

// gasBounds are a lowest and a highest gas limit.
type gasBounds struct{ min, max uint64 }

// The bounds hold on London (Quantum Chain) and on Ethereum's newest fork alike. The low one is
// below the cheapest call that can succeed, so that a limit under it only burns fees; the high one
// is about twice the dearest call that was measured, so that an estimate with a margin fits while a
// hostile limit buys nothing. gas_test.go measures them on go-ethereum's EVM.
var callBounds = map[Method]gasBounds{
	Mint:         {30_000, 150_000},
	Burn:         {30_000, 80_000},
	BurnFrom:     {32_000, 90_000},
	Transfer:     {26_000, 110_000},
	TransferFrom: {30_000, 120_000},
	GrantRole:    {26_000, 240_000},
	RevokeRole:   {26_000, 120_000},
	Pause:        {42_000, 95_000},
	Unpause:      {27_000, 60_000},
	Freeze:       {26_000, 110_000},
	Unfreeze:     {26_000, 70_000},
	Allow:        {26_000, 110_000},
	Disallow:     {26_000, 70_000},
}

// The bounds of a method hold for every template that has it; those of a deployment are its own.
var (
	deployV1          = gasBounds{1_300_000, 4_000_000}
	deployRegulatedV1 = gasBounds{1_700_000, 5_000_000}
)

// GasBounds are the gas limits between which a call of the method may be signed, both inclusive;
// 0, 0 for an unknown method, which none fits.
func GasBounds(m Method) (lowest, highest uint64) {
	b := callBounds[m]
	return b.min, b.max
}

// DeployGasBounds are the gas limits between which a deployment of the template may be signed.
func (t *Template) DeployGasBounds() (lowest, highest uint64) { return t.gas.min, t.gas.max }
