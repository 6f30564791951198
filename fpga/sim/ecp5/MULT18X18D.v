// SPDX-License-Identifier: Apache-2.0
//
// ECP5's multiplier as Yosys and fpga/ecp5/products.v use it, for simulating netlists: no register at
// all, or one on the operands and one on the product; no cascade. Any other way of using it does
// not elaborate.
//
//   P = A * B, each signed where SIGNEDA, SIGNEDB are high

`default_nettype none

module MULT18X18D #(
    parameter REG_INPUTA_CLK = "NONE",
    parameter REG_INPUTB_CLK = "NONE",
    parameter REG_INPUTC_CLK = "NONE",
    parameter REG_PIPELINE_CLK = "NONE",
    parameter REG_OUTPUT_CLK = "NONE",
    parameter MULT_BYPASS = "DISABLED",
    parameter GSR = "ENABLED",
    parameter RESETMODE = "SYNC"
) (
    input wire
    A0, A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15, A16, A17,
    input wire
    B0, B1, B2, B3, B4, B5, B6, B7, B8, B9, B10, B11, B12, B13, B14, B15, B16, B17,
    input wire
    C0, C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12, C13, C14, C15, C16, C17,
    input wire SIGNEDA, SIGNEDB, SOURCEA, SOURCEB, CLK0, CE0, RST0,
    output wire
    P0, P1, P2, P3, P4, P5, P6, P7, P8, P9, P10, P11, P12, P13, P14, P15, P16, P17, P18, P19,
    P20, P21, P22, P23, P24, P25, P26, P27, P28, P29, P30, P31, P32, P33, P34, P35
);

    wire [17:0] a = {
        A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0
    };
    wire [17:0] b = {
        B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0
    };
    wire [35:0] p;
    assign {
        P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
        P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
    } = p;

    function signed [35:0] multiply;
        input [17:0] left, right;
        multiply = $signed({{18{SIGNEDA && left[17]}}, left})
                 * $signed({{18{SIGNEDB && right[17]}}, right});
    endfunction

    localparam REGISTERED = REG_INPUTA_CLK == "CLK0" && REG_INPUTB_CLK == "CLK0"
                         && REG_OUTPUT_CLK == "CLK0";
    localparam PLAIN      = REG_INPUTA_CLK == "NONE" && REG_INPUTB_CLK == "NONE"
                         && REG_OUTPUT_CLK == "NONE";

    generate
        if (REG_INPUTC_CLK != "NONE" || REG_PIPELINE_CLK != "NONE" || MULT_BYPASS != "DISABLED"
                || RESETMODE != "SYNC") begin : gen_unknown
            error_MULT18X18D_in_a_mode_that_this_model_lacks error();
        end else if (REGISTERED) begin : gen_registered
            reg [17:0] a_reg, b_reg;
            reg [35:0] p_reg;
            assign p = p_reg;
            always @(posedge CLK0) begin
                if (CE0) begin
                    a_reg <= a;
                    b_reg <= b;
                    p_reg <= multiply(a_reg, b_reg);
                end
                if (RST0) begin
                    a_reg <= 0;
                    b_reg <= 0;
                    p_reg <= 0;
                end
            end
        end else if (PLAIN) begin : gen_plain
            assign p = multiply(a, b);
        end else begin : gen_mixed
            error_MULT18X18D_in_a_mode_that_this_model_lacks error();
        end
    endgenerate

endmodule

`default_nettype wire
