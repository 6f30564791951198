// SPDX-License-Identifier: Apache-2.0
//
// What scale_requantise computes, part by part and clock by clock, is the expression that its
// header names, LATENCY clocks later; and nothing else is valid.

`default_nettype none

module scale_requantise_formal #(
    parameter ACC_WIDTH   = 3,
    parameter SCALE_WIDTH = 3,
    parameter SHIFT       = 2,
    parameter CLOCKS      = 1,
    parameter CONSTANT    = 0,
    parameter ZERO_POINT  = 3,
    parameter LOW         = 1,
    parameter HIGH        = 7
) (
    input wire                        clk,
    input wire                        rst,
    input wire                        enable,
    input wire signed [ACC_WIDTH-1:0] acc,
    input wire [SCALE_WIDTH-1:0]      scale,
    input wire                        last,
    input wire                        valid
);

    localparam LATENCY = CLOCKS + 2;

    // Where a product takes several clocks, the next may begin one after them.
    reg  [3:0] rest  = 0;
    wire       start = valid && (CLOCKS == 1 || rest == 0);
    wire [7:0] code;
    wire       m_last, m_valid;

    scale_requantise #(
        .ACC_WIDTH(ACC_WIDTH), .SCALE_WIDTH(SCALE_WIDTH), .SHIFT(SHIFT), .CLOCKS(CLOCKS),
        .CONSTANT(CONSTANT), .ZERO_POINT(ZERO_POINT), .LOW(LOW), .HIGH(HIGH)
    ) dut (
        .clk(clk), .rst(rst), .enable(enable),
        .s_accs(acc), .s_scales(scale), .s_last(last), .s_valid(start),
        .m_codes(code), .m_last(m_last), .m_valid(m_valid)
    );

    wire signed [31:0] factor  = {{(32-SCALE_WIDTH){1'b0}}, scale};
    wire signed [31:0] product = acc * factor;
    wire signed [31:0] rounded = ((product + (1 <<< (SHIFT - 1))) >>> SHIFT) + ZERO_POINT;
    wire        [7:0]  wanted  = (rounded < LOW) ? LOW : (rounded > HIGH) ? HIGH : rounded;

    reg [9*LATENCY-1:0] due_reg;  // code and last
    reg [LATENCY-1:0]   valid_reg = 0;

    always @(posedge clk) begin
        if (enable) begin
            due_reg   <= {due_reg, wanted, last};
            valid_reg <= {valid_reg, start};
            rest      <= start ? CLOCKS : (rest != 0) ? rest - 1'b1 : 0;
        end
        if (rst) begin
            valid_reg <= 0;
            rest      <= 0;
        end
    end

    always @* begin
        assert (m_valid == valid_reg[LATENCY-1]);
        if (m_valid)
            assert ({code, m_last} == due_reg[9*LATENCY-1 -: 9]);
    end

endmodule

`default_nettype wire
