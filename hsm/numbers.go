package hsm

// Numbers of PKCS#11 3.x that the wrapper library lacks.
const (
	ckmEdwardsKeyPairGen = 0x1055 // CKM_EC_EDWARDS_KEY_PAIR_GEN
	ckmEdDSA             = 0x1057 // CKM_EDDSA
	ckkEdwards           = 0x40   // CKK_EC_EDWARDS
	ckmMLDSAKeyPairGen   = 0x1c   // CKM_ML_DSA_KEY_PAIR_GEN
	ckmMLDSA             = 0x1d   // CKM_ML_DSA
	ckkMLDSA             = 0x4a   // CKK_ML_DSA
	ckaParameterSet      = 0x61d  // CKA_PARAMETER_SET
	ckpMLDSA65           = 2      // CKP_ML_DSA_65

	userContextSpecific = 2 // CKU_CONTEXT_SPECIFIC
)

// Curves as CKA_EC_PARAMS: the DER of their OIDs.
var (
	p256Params      = []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}
	secp256k1Params = []byte{0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a}
	ed25519Params   = []byte{0x06, 0x03, 0x2b, 0x65, 0x70} // RFC 8410
	// Some tokens take only the name that PKCS#11 3.0 gives to Ed25519.
	ed25519Name = append([]byte{0x13, 0x0c}, "edwards25519"...)
)

const (
	pointSize            = 65   // bytes of an uncompressed point of a 256-bit curve
	mldsa65SignatureSize = 3309 // bytes (FIPS 204)
)
